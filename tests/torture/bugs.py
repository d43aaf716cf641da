"""x"""
def named(name): raise KeyError(name)
