"""The benchmarks' work where asv is not: what it is made of, and as rows that the demo's runner measures in turn."""
