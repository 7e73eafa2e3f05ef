"""The local chain: the deployed programs in LiteSVM, planted markets, and recordings played as a provider would."""
