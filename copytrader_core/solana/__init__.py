"""Solana's own formats and services: transactions, JSON-RPC. Nothing here knows pump.fun."""
