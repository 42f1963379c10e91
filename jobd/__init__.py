"""jobd: a local job and service supervisor that loses nothing."""

__version__ = "0.1.0"
