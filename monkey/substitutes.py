def install():
    pass


def uninstall():
    pass


def too_late():
    return []
