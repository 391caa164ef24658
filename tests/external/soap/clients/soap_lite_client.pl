# SOAP::Lite (Perl): SOAP 1.1 in ISO-8859-1, SOAP 1.2 in UTF-8. See README.md.
use strict;
use warnings;
use utf8;
use Encode qw(encode);
use SOAP::Lite;

my (undef, $version, $endpoint) = @ARGV;
my $charset = $version eq '1.1' ? 'ISO-8859-1' : 'UTF-8';
binmode STDIN, ':encoding(UTF-8)';
binmode STDOUT, ':encoding(UTF-8)';
$| = 1;

# The version counts for the objects that are made after it.
SOAP::Lite->soapversion($version);
my $soap = SOAP::Lite->proxy($endpoint)->default_ns('Zoolz')->encoding(lc $charset);
$soap->on_action(sub { "\"Zoolz/$_[1]\"" });
$soap->on_fault(sub { my (undef, $fault) = @_; ref $fault ? $fault : die $soap->transport->status, "\n" });

sub text_of { my $text = shift; $text =~ s/\\n/\n/g; $text =~ s/\\t/\t/g; $text =~ s/\\\\/\\/g; return $text }
sub written { my $text = shift // ''; $text =~ s/\\/\\\\/g; $text =~ s/\t/\\t/g; $text =~ s/\n/\\n/g; return $text }

while (my $line = <STDIN>) {
    chomp $line;
    my ($operation, @pairs) = split /\t/, $line;
    my @members;
    for my $pair (@pairs) {
        my ($name, $value) = split /=/, $pair, 2;
        if ($name eq '@mustUnderstand') {
            push @members, SOAP::Header->name('Security')->uri('urn:x')->value('x')->mustUnderstand(1);
            next;
        }
        # SOAP::Lite encodes texts itself if the body is UTF-8.
        my $text = text_of($value);
        push @members, SOAP::Data->name($name)->type(string => $version eq '1.1' ? encode($charset, $text) : $text);
    }
    my $answer = $soap->call($operation, @members);
    if ($answer->fault) {
        my $fault = $version eq '1.1' ? [$answer->faultcode, $answer->faultstring] : [map { $answer->valueof("//Fault/$_") } qw(Code/Value Reason/Text)];
        print 'fault=', written(join ' ', @$fault), "\n";
        next;
    }
    my $result = $answer->result;
    print join("\t", map { "$_=" . written($result->{$_}) } grep { exists $result->{$_} } qw(Code Message Joson JSON)), "\n";
}
