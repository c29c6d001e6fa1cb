"""What makes a measurement worthless."""


class Failure(Exception):
    """A request was lost, an answer was not good, or a proxy did not start: told, never a figure."""
