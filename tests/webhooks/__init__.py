"""What webhooks tell, and what comes of it."""
