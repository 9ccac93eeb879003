"""What runs the cores: clocks, mailboxes, the stage greenlet, the device driver, the supervisor."""
