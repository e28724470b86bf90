"""Fetches one file (- for none) and stores another by FTP: HOST PORT USER PASSWORD passive|active DOWN UP."""

import ctypes
import ftplib
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)


def accept(listener):
    """Python calls accept4(2), which Dante's client does not know."""
    address, length = ctypes.create_string_buffer(128), ctypes.c_int(128)
    fd = libc.accept(listener.fileno(), address, ctypes.byref(length))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "accept")
    return socket.socket(fileno=fd), None


socket.socket.accept = accept

host, port, user, password, mode, down, up = sys.argv[1:]
ftp = ftplib.FTP()
ftp.connect(host, int(port))
ftp.login(user, password)
ftp.set_pasv(mode == "passive")
if down != "-":
    with open(down, "wb") as file:
        ftp.retrbinary(f"RETR {down}", file.write)
with open(up, "rb") as file:
    ftp.storbinary(f"STOR {up}", file)
ftp.quit()
