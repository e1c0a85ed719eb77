"""Promotion: alias moves by compare-and-swap, their audit, and the gate evidence behind them."""
