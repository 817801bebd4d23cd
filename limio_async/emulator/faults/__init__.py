"""What goes wrong. `World.faults` is a `Faults`.

faults.py      when something goes wrong, and how often
kinds.py       everything that can go wrong, one struct a kind
delivery.py    how an answer travels
walks.py       which page of which walk a request asks for
"""
