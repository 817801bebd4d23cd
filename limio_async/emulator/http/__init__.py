"""A world over HTTP: what `limio emulate` runs.

server.py      the server
admission.py   whose requests are let in
courier.py     sends webhooks over HTTP
apps.py        takes webhooks to an application in this process
sending.py     sends one answer, with what goes wrong on the socket
control.py     /_emulator/control, for programs in other languages
window.py      the window to look through at /_emulator/, with window.html
"""
