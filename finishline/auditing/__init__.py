"""What ``python -m finishline.audit`` does, one module a subject.

``scoring.checks`` judges a record by itself. What is here needs more than the record: the project's
own rules, the data, the model, the submission, or another run.
"""
