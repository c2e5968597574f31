//! `ceph.conf` of a one-machine cluster.

use std::net::IpAddr;
use std::path::Path;

use crate::addresses::{MON_PORT, MON_V1_PORT};
use crate::parts::Tree;

/// Size of the OSD's file. It is sparse: only what is written takes space.
const BLOCK_BYTES: u64 = 64 << 30;

/// The small numbers make a cluster of one start in seconds: proposals need not be gathered, one
/// placement group per pool is enough, nothing is replicated.
pub(super) fn render(dir: &Path, address: IpAddr, fsid: &str, sts_key: &str, tree: &Tree) -> String {
    let dir = dir.display();
    let library = |name: &str| tree.path("usr/lib/x86_64-linux-gnu").join(name).display().to_string();
    let (classes, erasure, plugins) = (library("rados-classes"), library("ceph/erasure-code"), library("ceph"));
    format!(
        "# Written by cyto; changed at every start.\n[global]\n\
         fsid = {fsid}\nmon host = [v2:{address}:{MON_PORT},v1:{address}:{MON_V1_PORT}]\n\
         public addr = {address}\ncluster addr = {address}\nms bind ipv6 = false\n\
         auth cluster required = cephx\nauth service required = cephx\nauth client required = cephx\n\
         auth allow insecure global id reclaim = false\n\
         keyring = {dir}/keyring\nrun dir = {dir}/run\ncrash dir = {dir}/crash\n\
         pid file = {dir}/run/$type.$id.pid\nadmin socket = {dir}/run/$cluster-$name.$pid.asok\n\
         log to file = false\nlog to stderr = true\nerr to stderr = true\nmon cluster log to file = false\n\
         debug mon = 0/1\ndebug paxos = 0/1\ndebug rocksdb = 0/1\ndebug bluestore = 0/1\ndebug osd = 0/1\ndebug rgw = 0/1\ndebug bluefs = 0/1\ndebug bdev = 0/1\ndebug auth = 0/1\n\
         osd pool default size = 1\nosd pool default min size = 1\nosd pool default pg autoscale mode = off\n\
         osd pool default pg num = 1\nosd pool default pgp num = 1\nosd crush chooseleaf type = 0\n\
         mon allow pool size one = true\nmon warn on pool no redundancy = false\nmon max pg per osd = 2000\n\
         mon data avail warn = 1\nmon data avail crit = 1\n\
         paxos propose interval = 0.02\npaxos min wait = 0.01\nmon tick interval = 1\nosd mon report interval = 1\n\
         ms type = async+posix\nms async op threads = 2\n\
         osd class dir = {classes}\nerasure code dir = {erasure}\nplugin dir = {plugins}\n\
         [mon]\nmon data = {dir}/mon\n\
         [osd]\nosd data = {dir}/osd\nosd objectstore = bluestore\n\
         bluestore block create = true\nbluestore block size = {BLOCK_BYTES}\n\
         bluestore block db create = false\nbluestore block wal create = false\n\
         bluestore cache autotune = false\nbluestore cache size = 67108864\nbluestore fsck quick fix on mount = false\n\
         osd op num shards = 2\nosd op num threads per shard = 1\nosd check max object name len on startup = false\n\
         osd memory target = 536870912\nosd max pg log entries = 500\nosd min pg log entries = 100\n\
         [client]\nrgw data = {dir}/rgw\nrgw thread pool size = 64\nrgw max concurrent requests = 512\n\
         rgw enable usage log = false\nrgw enable ops log = false\nrgw run sync thread = false\n\
         rgw override bucket index max shards = 1\n\
         rgw sts key = {sts_key}\nrgw s3 auth use sts = true\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everything_lies_in_the_sites_folder_and_listens_on_its_address() {
        let parts = crate::parts::Parts::in_dir(Path::new("/cache")).unwrap();
        assert!(parts.find("no-such-part").await.is_err());
        let text =
            render(Path::new("/state/ceph"), "127.0.3.1".parse().unwrap(), "f", "k", &Tree::at(Path::new("/tree")));
        assert!(text.contains("mon host = [v2:127.0.3.1:6789,v1:127.0.3.1:6790]"));
        assert!(text.contains("osd class dir = /tree/usr/lib/x86_64-linux-gnu/rados-classes"));
        assert!(text.contains("mon data = /state/ceph/mon"));
    }
}
