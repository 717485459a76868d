"""From Discord's objects to records and back: arrivals, history, who may read. Imports discord and memory."""
