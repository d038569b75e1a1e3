"""Who sends a request, and how often they may: authentication, revocations, rate limits, client addresses."""
