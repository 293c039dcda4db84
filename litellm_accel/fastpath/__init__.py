"""What the fast path is made of, apart from its hot path.

``environment`` says when the fast path may serve at all, ``recorder`` watches stock's HTTP exchanges and answers them
again,
``templates`` turns a watched call into a plan that the fast path can repeat.
"""
