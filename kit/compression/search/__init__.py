"""Which recipe: steps are tried, cached and judged until a budget is met best."""
