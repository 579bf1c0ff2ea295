"""Run the gateway's Ryu application: `python -m controllers.main --config FILE`."""

import argparse
import logging
import os
import signal
import sys
import warnings
from pathlib import Path

# Ryu has nothing else; its users need not be told at every start.
warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")

import eventlet.wsgi  # noqa: E402

# Ryu 4.34 asks for what eventlet 0.33 dropped; it is never used here.
eventlet.wsgi.ALREADY_HANDLED = object()

from ryu import cfg  # noqa: E402
from ryu.base.app_manager import AppManager  # noqa: E402
from ryu.lib import hub  # noqa: E402

from controllers import gateway_app  # noqa: E402
from mobivpn.errors import CallerError  # noqa: E402


def main(arguments: list[str]) -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m controllers.main", description=__doc__)
    parser.add_argument("--config", required=True, type=Path, metavar="FILE")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    # Not sys.exit: what is raised in one of Ryu's green threads ends that, and is logged.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    cfg.CONF(args=[], project="ryu", default_config_files=[])
    try:
        gateway_app.GatewayApp.configuration = gateway_app.Configuration.read(given.config)
    except CallerError as error:
        parser.error(str(error))
    manager = AppManager.get_instance()
    manager.load_apps([gateway_app.__name__])
    services = manager.instantiate_apps(**manager.create_contexts())
    try:
        hub.joinall(services)
    finally:
        manager.close()


if __name__ == "__main__":
    eventlet.monkey_patch(thread=False)
    main(sys.argv[1:])
