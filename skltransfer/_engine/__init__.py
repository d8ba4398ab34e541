"""The machinery. Private: nothing here is covered by the deprecation policy; what users import lies above."""
