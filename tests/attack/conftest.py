from device_fixtures import stack

__all__ = ["stack"]
