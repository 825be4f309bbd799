"""The checker of submissions: what is wrong with a folder, before anything of it is run.

Every section is a function from the folder to a ``report.Section``. All but the dry run read files
and import neither a framework nor the submission.
"""
