"""Install the core of mobivpn; the edges (topologies, controllers, agents, experiments, vm) run from the checkout."""

from setuptools import find_packages, setup

setup(
    name="mobivpn",
    version="0.1.0",
    description="A testbed for mobile VPNs: IPsec, Mobile IPv6 and SDN in a rootless, repeatable lab",
    license="BSD-3-Clause",
    python_requires=">=3.11",
    package_dir={"": "src"},
    packages=find_packages("src"),
    package_data={"mobivpn": ["py.typed"]},
    install_requires=[
        "mininet==2.3.*",
        "ryu==4.34",
        "eventlet==0.41.0",
        "scapy==2.8.0",
        "cryptography==50.0.2",
        "matplotlib==3.11.2",
        "msgspec==0.22.0",
        "pydantic==2.14.3",
        "pyroute2==0.9.7",
        "click==8.5.1",
        "rich==15.0.0",
        "jinja2==3.1.6",
    ],
    extras_require={
        "dev": [
            "pytest==9.2.0",
            "pytest-cov==7.1.0",
            "hypothesis==6.170.15",
            "ruff==0.17.6",
            "mypy==2.4.1",
            "pyright==1.1.414",
            "import-linter==2.16",
            "pre-commit==4.7.0",
        ]
    },
)
