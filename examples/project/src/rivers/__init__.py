"""River gauges: readings, statistics and forecasts."""
