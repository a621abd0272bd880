"""Engine processes: started under a keeper, watched, ended, and looked for after a crash."""
