"""Which sessions of two external nodes the gateway tells the VCM of (seed: "General")."""


def is_triggered(trigger: str, began_ns: int, both_outside_ns: int) -> bool:
    """Tell whether a session becomes direct that has packets since `began_ns`, and whose ends are
    both outside since `both_outside_ns`."""
    existed = began_ns < both_outside_ns
    return {"session": existed, "initiation": not existed}.get(trigger, True)
