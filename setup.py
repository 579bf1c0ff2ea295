"""Install the core of mobivpn; the edges (topologies, controllers, ...) run from the checkout.

`./lab` reads the literals below and installs them into an environment of its own.
"""

from setuptools import find_packages, setup

setup(
    name="mobivpn",
    version="0.1.0",
    description="A testbed for mobile VPNs: IPsec, Mobile IPv6 and SDN, rootless and repeatable",
    license="BSD-3-Clause",
    python_requires=">=3.11",
    package_dir={"": "src"},
    packages=find_packages("src"),
    package_data={"mobivpn": ["py.typed"]},
    install_requires=[
        # Mininet is Debian's: the virtual environment sees the distribution's packages.
        "mininet==2.3.*",
        # Ryu builds under constraints/ryu-build.txt only, and runs with this eventlet.
        "ryu==4.34",
        "eventlet==0.41.0",
        "scapy==2.8.0",
        "cryptography>=38",
        "matplotlib==3.11.2",
        "msgspec==0.22.0",
        "pydantic==2.14.3",
        "pyroute2==0.9.7",
        "click==8.5.1",
        "rich==15.0.0",
        "jinja2==3.1.6",
        "distributed==2026.8.0",
        "pandas==3.1.1",
        "pyarrow==26.0.1",
        "scipy==1.17.1",
    ],
    extras_require={
        "test": [
            "pytest==9.2.0",
            "pytest-cov==7.1.0",
            "pytest-xdist==3.8.0",
            "covertable==3.2.0",
            "tomli-w==1.2.0",
            "hypothesis==6.170.15",
            "import-linter==2.16",
            # A notebook is run as a test.
            "nbclient==0.11.0",
            "ipykernel==7.4.0",
        ],
        "dev": [
            "ruff==0.17.6",
            "mypy==2.4.1",
            "pyright==1.1.414",
            "pre-commit==4.7.0",
        ],
    },
)
