"""The leaderboard and the certificates as pages, built from `certificate.json` files alone: no torch here."""
