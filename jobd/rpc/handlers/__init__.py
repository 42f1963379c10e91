"""The handlers of the requests, one file a group of verbs."""
