"""What static-export does: collect what the application serves, publish it, configure the web
server, verify.
"""
