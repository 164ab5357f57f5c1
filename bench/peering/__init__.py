"""What bench/peers is made of: what is measured (work), the programs, their installation, the table."""
