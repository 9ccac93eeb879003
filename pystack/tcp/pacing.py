class Pacer:
    __slots__ = ("rate",)

    def __init__(self):
        self.rate = 0.0
