"""The local RAM: roles, policies, and the decision whether a role may do something."""
