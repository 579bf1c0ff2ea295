"""What can be wrong with a result folder, said in one line."""


class ResultError(Exception):
    """A file of a result folder is missing, damaged or of another schema; the text says which."""
