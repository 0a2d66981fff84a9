"""What `skutrail doctor` looks at: a module per subject, each with its CHECKS. Nothing here changes anything.

A check is a query with a bound, and a sentence for the operator. What is found is looked for a second time: work that
is under way, and databases that are read one after the other, look like trouble for a moment.
"""
