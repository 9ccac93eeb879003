"""Devices: where frames come from and go to. `pystack.device.base` tells what each one offers."""
