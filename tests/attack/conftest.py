from device_fixtures import stack, vault

__all__ = ["stack", "vault"]
