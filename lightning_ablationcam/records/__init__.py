"""What event files hold for the tab and the report, without torch."""
