"""Apple Push Notification service: how a message is put, who we are, and what an answer means."""
