"""What the chat lane is made of, apart from its hot path.

``policy`` says when the lane may serve at all, ``exchange`` watches stock's HTTP exchanges and answers them again,
``learn`` turns a watched call into a plan that the lane can repeat.
"""
