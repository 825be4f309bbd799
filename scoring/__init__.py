"""From the logs of trials to times, performance profiles, scores and a leaderboard."""
