use std::io::{IoSliceMut, Read, Seek};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::*;

/// What the journal gets: a datagram, or the file in place of one that was too large.
fn receive(journal: &UnixDatagram) -> Vec<u8> {
    let mut octets = vec![0; 65_536];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(journal, &mut [IoSliceMut::new(&mut octets)], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    octets.truncate(received.bytes);
    for part in control.drain() {
        let RecvAncillaryMessage::ScmRights(mut files) = part else { continue };
        assert!(octets.is_empty(), "a file comes alone");
        let mut file = File::from(files.next().unwrap());
        assert!(rustix::fs::fcntl_get_seals(&file).unwrap().contains(SealFlags::WRITE));
        file.rewind().unwrap();
        file.read_to_end(&mut octets).unwrap();
    }
    octets
}

fn journal() -> (tempfile::TempDir, UnixDatagram, Journal) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let receiver = UnixDatagram::bind(&path).unwrap();
    (folder, receiver, Journal::open(&path).unwrap())
}

#[test]
fn each_record_is_a_message_with_its_fields() {
    let (_folder, receiver, mut journal) = journal();
    let lines = "{\"v\":1,\"event\":\"session\",\"valid-until\":\"x\"}\n{\"v\":1,\"event\":\"audit-lost\"}\n";
    journal.append(&mut lines.as_bytes()).unwrap();
    let first = String::from_utf8(receive(&receiver)).unwrap();
    let expected = "MESSAGE={\"v\":1,\"event\":\"session\",\"valid-until\":\"x\"}\nPRIORITY=6\n\
                    SYSLOG_IDENTIFIER=socksd\nSOCKSD_EVENT=session\nSOCKSD_V=1\nSOCKSD_VALID_UNTIL=x\n";
    assert_eq!(first, expected);
    let second = String::from_utf8(receive(&receiver)).unwrap();
    assert!(second.contains("\nPRIORITY=4\n") && second.contains("SOCKSD_EVENT=audit-lost\n"), "{second}");
}

#[test]
fn a_record_that_is_too_large_for_a_datagram_comes_whole_all_the_same() {
    let (_folder, receiver, mut journal) = journal();
    let groups = "g".repeat(600_000);
    let line = format!("{{\"event\":\"session\",\"groups\":[\"{groups}\"]}}\n");
    journal.append(&mut line.as_bytes()).unwrap();
    let message = receive(&receiver);
    assert!(message.ends_with(format!("\nSOCKSD_GROUPS={groups}\n").as_bytes()), "{} octets", message.len());
}

#[test]
fn a_value_with_a_line_end_in_it_cannot_pose_as_another_field() {
    let text = message(b"{\"detail\":\"a\\nMESSAGE=forged\"}");
    let expected = [&b"SOCKSD_DETAIL\n"[..], &16_u64.to_le_bytes(), b"a\nMESSAGE=forged\n"].concat();
    assert!(text.ends_with(&expected), "{}", String::from_utf8_lossy(&text));
}

#[test]
fn a_journal_that_is_away_fails_and_is_found_when_it_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let mut journal = Journal::open(&path).unwrap();
    let mut rest = &b"{\"event\":\"reload\"}\n"[..];
    assert!(journal.append(&mut rest).is_err());
    let receiver = UnixDatagram::bind(&path).unwrap();
    journal.append(&mut rest).unwrap();
    assert!(rest.is_empty() && !receive(&receiver).is_empty());
}
