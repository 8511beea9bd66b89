"""Firebase Cloud Messaging, HTTP v1: how a message is put, who we are, and what an answer means."""
