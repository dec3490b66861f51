"""Results of checks as text, JUnit XML and a contact sheet."""
