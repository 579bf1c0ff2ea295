"""What gateway, router, VCM and mobile nodes tell each other (202 to 212), sans I/O."""
