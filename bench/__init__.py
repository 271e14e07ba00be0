"""What everything is measured with. See DESIGN.md, section 7, for the rooms and their arrows."""
