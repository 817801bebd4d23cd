"""What items hold that the models do not know, and what of it would go into the spec. Pure.

findings.py   counts names, types and values that a model does not have
proposal.py   turns findings into a change of `openapi/limio.yaml`
"""
