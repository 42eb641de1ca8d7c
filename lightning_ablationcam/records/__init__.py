"""What event files hold for the tab and the report. Imports no torch."""
