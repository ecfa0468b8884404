"""What every host in a cloud is made of: settings, the platform on its services, jobs, and the headers of answers."""
