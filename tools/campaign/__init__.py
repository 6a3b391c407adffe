"""What ``tools/gpu_campaign.py`` is made of. What must run before any wheel is installed imports the standard library
alone: everything but ``images`` and ``measure``, which run in processes of their own."""
