from device_fixtures import pair, stack, vault

__all__ = ["pair", "stack", "vault"]
