"""Each method against its formula."""
